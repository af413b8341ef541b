"""One door to understanding SQL: `statements.Statements.statement(text)` gives a `pgbeam_core.api.statement.Statement`.

`tree` asks PostgreSQL's own grammar; `walk`, `kinds`, `definitions` and `settings` read its tree into `facts.Facts`;
`classify` makes a Statement of them. Beside it: `annotations` (the comments meant for PgBeam), `templates` (texts that
differ in plain literals share a verdict), `shapes` (fingerprints and text for people), `clock` (values that mean "now")
and `volatility` (which functions a remembered result may rest on).
"""
