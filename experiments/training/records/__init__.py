"""What a run leaves behind: its record, the losses of its steps, the curve and the summary made of them."""
