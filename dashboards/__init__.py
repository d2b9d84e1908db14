"""What is seen: console, Grafana dashboards, alert rules."""
