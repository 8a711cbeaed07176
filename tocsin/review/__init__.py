"""Looking back and ahead without effects: backtests, tests of definitions, explanations, checks."""
