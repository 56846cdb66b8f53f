//! What goes to the terminal.

use std::io::{Write, stderr, stdout};

/// Prints a line; what others wrote in it cannot do anything to the terminal. A terminal that is gone is no reason to
/// panic.
pub fn print(line: &str) {
    let _ = writeln!(stdout(), "{}", plain(line));
}

/// The same for what went wrong.
pub fn print_error(line: &str) {
    let _ = writeln!(stderr(), "{}", plain(line));
}

/// What to say of an address that is none. The library's own words are about URLs, which people here do not type.
pub fn bad_address(addr: &str) -> String {
    format!("{addr} is not an address. Write host:port, for example 127.0.0.1:7000.")
}

/// The text without what would steer a terminal or make it show something else than what is there: control
/// characters, other ends of lines, and marks that turn the direction of writing.
fn plain(text: &str) -> String {
    let harmless = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().filter(harmless).collect()
}
