"""Plans, jobs and progress as people look at them: tables, graphs, pages."""
