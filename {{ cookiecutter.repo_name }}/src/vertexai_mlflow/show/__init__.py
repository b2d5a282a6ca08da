"""Show plans, jobs and progress: as tables, graphs, and summaries for CI."""
