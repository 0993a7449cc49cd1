"""One file for each step: its value with what others ask of it, and its handler; `kinds` lists them all."""
