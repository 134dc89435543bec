"""One HTML file about one or several runs, which needs no network and runs no script."""
