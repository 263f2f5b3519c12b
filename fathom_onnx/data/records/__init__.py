"""Tables and graphs of records: click logs, citations."""
