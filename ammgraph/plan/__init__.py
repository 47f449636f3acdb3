"""What was decided about a spec: frozen values that everything behind the compiler reads. No torch."""
