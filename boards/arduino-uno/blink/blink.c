/* Blinks the Uno's LED (PB5) twice a second, says so once at 9600 baud, and answers any key.

   Between these it sleeps. Source: ATmega328P datasheet, USART0 (table of baud rates: UBRR 103 at
   16 MHz), Timer/Counter1 (CTC), Power Management (idle). Made with `make -C` in this folder. */

#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/pgmspace.h>
#include <avr/sleep.h>

static volatile uint8_t key;

ISR(TIMER1_COMPA_vect) { PINB = _BV(PINB5); /* a one written to PIN toggles */ }

ISR(USART_RX_vect) { key = UDR0; }

static void say(const char *text) {
    for (char c; (c = pgm_read_byte(text)); text++) {
        loop_until_bit_is_set(UCSR0A, UDRE0);
        UDR0 = c;
    }
}

int main(void) {
    DDRB = _BV(DDB5);
    UBRR0 = 103;
    UCSR0A = 0; /* the boot loader leaves U2X set */
    UCSR0C = _BV(UCSZ01) | _BV(UCSZ00);
    UCSR0B = _BV(RXEN0) | _BV(TXEN0) | _BV(RXCIE0);
    OCR1A = F_CPU / 256 / 4 - 1;
    TCCR1B = _BV(WGM12) | _BV(CS12);
    TIMSK1 = _BV(OCIE1A);
    say(PSTR("Hello from blink on the Uno\r\n"));
    set_sleep_mode(SLEEP_MODE_IDLE);
    for (;;) {
        cli();
        if (key) {
            key = 0;
            sei();
            say(PSTR("blinking\r\n"));
        } else {
            sleep_enable();
            sei(); /* the instruction after it is executed before any interrupt */
            sleep_cpu();
            sleep_disable();
        }
    }
}
