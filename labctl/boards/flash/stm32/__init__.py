"""The boot loader in the ROM of STM32 chips: its protocol (AN3155), and the chips there are."""
