//! The durations that attributes name: `"500ms"`, `"2s"`, `"5m"`, `"1h"`.

use std::time::Duration;

/// Reads a duration, or says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let nonsense = || {
        format!(
            "`{text}` is not a duration; write a whole number and `ms`, `s`, `m` or `h`, such as \"500ms\" or \"2s\""
        )
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(nonsense)?;
    let (number, unit) = text.split_at(digits);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(nonsense()),
    };
    if number.is_empty() {
        return Err(nonsense());
    }
    let number = number.parse::<u64>().ok();
    match number.and_then(|number| number.checked_mul(millis)) {
        Some(0) => Err("a timeout of zero fails every call; leave it out for the default of 30 seconds".to_owned()),
        Some(millis) => Ok(Duration::from_millis(millis)),
        None => Err(format!("`{text}` is longer than can be counted in milliseconds")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legal_forms() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse("1h"), Ok(Duration::from_secs(3600)));
    }

    #[test]
    fn everything_else() {
        for bad in
            ["", "2", "s", "2 s", "1.5s", "-1s", "2sec", "0s", "0ms", "99999999999999999999s", "9999999999999999h"]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
