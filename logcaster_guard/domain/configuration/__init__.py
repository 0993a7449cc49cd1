"""The configuration of a release: which ConfigMaps and Secrets its pods refer to, and what they have read of them.

Pure: raw JSON and what the guard has seen in, values out.
"""
