"""What a training takes, before it starts: memory, time, money, energy."""
