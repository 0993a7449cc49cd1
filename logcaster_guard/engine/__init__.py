"""The asyncio machinery around the domain: watching, running, telling."""
