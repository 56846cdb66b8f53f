//! The durations that attributes contain, such as `"500ms"`, `"2s"`, `"5m"` and `"1h"`.

use std::time::Duration;

/// Parses a duration.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let invalid = || {
        format!(
            "`{text}` is not a duration; write a whole number and `ms`, `s`, `m` or `h`, such as \"500ms\" or \"2s\""
        )
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
    let (number, unit) = text.split_at(digits);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(invalid()),
    };
    if number.is_empty() {
        return Err(invalid());
    }
    let number = number.parse::<u64>().ok();
    match number.and_then(|number| number.checked_mul(millis)) {
        Some(0) => Err("a timeout of zero fails each call; omit it for the default of 30 seconds".to_owned()),
        Some(millis) => Ok(Duration::from_millis(millis)),
        None => Err(format!("`{text}` is too long; use less than 2^64 milliseconds")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_durations_are_parsed() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse("1h"), Ok(Duration::from_secs(3600)));
    }

    #[test]
    fn invalid_durations_are_rejected() {
        for bad in
            ["", "2", "s", "2 s", "1.5s", "-1s", "2sec", "0s", "0ms", "99999999999999999999s", "9999999999999999h"]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
