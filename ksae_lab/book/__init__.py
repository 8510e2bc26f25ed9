"""What the pages need: figures, diagrams, glued numbers, exercises that check themselves."""
