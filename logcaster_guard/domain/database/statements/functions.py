"""Functions that statements call: those that are known to change nothing, and those that reach outside.

Names are PostgreSQL's own. A database may hold another function of such a name for other types of arguments, and
nothing in a file shows that.
"""

from __future__ import annotations

from collections.abc import Sequence

_HARMLESS = frozenset(
    """
    abs age array_agg array_append array_cat array_length array_position array_prepend array_remove array_replace
    array_to_json array_to_string array_upper avg bit_length bool_and bool_or btrim cardinality ceil ceiling char_length
    character_length chr concat concat_ws convert_from convert_to count cume_dist date_bin date_part date_trunc
    decode dense_rank div encode every exp extract first_value floor format gen_random_uuid generate_series
    generate_subscripts initcap is_normalized json_agg json_array_elements json_array_elements_text
    json_array_length json_build_array json_build_object json_each json_each_text json_extract_path
    json_extract_path_text json_object json_object_agg json_object_keys json_strip_nulls json_typeof jsonb_agg
    jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each
    jsonb_each_text jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_agg
    jsonb_object_keys jsonb_path_exists jsonb_path_query jsonb_pretty jsonb_set jsonb_strip_nulls jsonb_typeof lag
    last_value lead left length like_escape ln log lower lpad ltrim make_date make_interval make_time make_timestamp
    make_timestamptz max md5 min mod normalize now nth_value ntile num_nonnulls num_nulls octet_length overlaps overlay
    percent_rank percentile_cont percentile_disc pi position power quote_ident quote_literal quote_nullable random rank
    regexp_match regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table repeat replace reverse right
    round row_number row_to_json rpad rtrim sha256 sign similar_escape similar_to_escape split_part sqrt starts_with
    statement_timestamp clock_timestamp transaction_timestamp stddev string_agg string_to_array strpos substr substring
    sum timezone to_char to_date to_hex to_json to_jsonb to_number to_timestamp to_tsquery to_tsvector translate
    trim_array trunc unnest upper variance width_bucket xml_is_well_formed nextval currval
    """.split()  # noqa: SIM905 - as quoted words they fill two pages
)
"""They read their arguments, or the clock. `nextval` leaves a gap in a sequence, which is no loss."""
_OUTSIDE = (
    *("pg_advisory_", "pg_try_advisory_", "dblink", "pg_logical_", "pg_replication_", "pg_create_", "pg_drop_"),
    *("pg_copy_", "pg_read_", "pg_ls_", "pg_file_", "pg_wal_", "pg_switch_", "pg_promote", "pg_reload", "pg_rotate_"),
    *(
        "pg_terminate_",
        "pg_cancel_",
        "pg_notify",
        "pg_export_snapshot",
        "pg_sleep",
        "pg_start_backup",
        "pg_stop_backup",
    ),
    *("pg_backup_", "pg_stat_reset", "pg_current_logfile", "set_config", "lo_import", "lo_export"),
)
"""How the names begin of those whose effect a rollback does not undo, or others see at once, or settings feel."""
_CATALOG = "pg_catalog"


def is_harmless(words: Sequence[str]) -> bool:
    """Whether a function of this name changes nothing."""
    return words[-1] in _HARMLESS and (len(words) == 1 or words[0] == _CATALOG)


def reaches_outside(words: Sequence[str]) -> bool:
    """Whether a function of this name does what the end of the transaction does not undo, or changes its settings."""
    return words[-1].startswith(_OUTSIDE)


def is_own_operator(words: Sequence[str]) -> bool:
    """Whether an operator may be one that PostgreSQL does not bring along."""
    return len(words) > 1 and words[0] != _CATALOG
