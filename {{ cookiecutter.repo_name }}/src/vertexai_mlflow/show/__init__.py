"""Shows plans, jobs and progress to people: as tables, graphs and summaries for CI."""
