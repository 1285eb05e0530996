"""What both services' doors share: settings that explain themselves, a body limit, answers that carry the trace id."""
