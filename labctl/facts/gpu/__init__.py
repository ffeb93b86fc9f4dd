"""What is so about accelerator cards, from whichever source could be read; never judged here."""
