"""The robustness report as a page: verdict, charts, tables, galleries, all in one file."""
