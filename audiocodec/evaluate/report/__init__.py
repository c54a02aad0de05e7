"""Results for people: tables, charts, pages."""
