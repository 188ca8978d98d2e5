"""The service: the only place that reads argv, configuration, environment, clock and signals."""
