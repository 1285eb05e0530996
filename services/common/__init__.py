"""What both services' doors share: settings that explain themselves, answers that carry the trace id."""
