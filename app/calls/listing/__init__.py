"""Lists of calls: filters, orders, cursors and the statement of one page."""
