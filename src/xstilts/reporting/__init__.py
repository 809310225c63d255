"""What people read of a study: the page, charts, tables, and the card of a model."""
