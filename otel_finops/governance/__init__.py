"""What governs spend: budgets, reservations, decisions, policies, approvals, guardrails, credits, and switches that stop calls."""
