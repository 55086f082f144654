"""What every service of localcloud is made of: errors, methods, state, operations, time, identity."""
