//! Describes a refused value without repeating it: a value may be a secret that
//! was put in the wrong place, so an error message tells its shape and no more.

use std::fmt;

/// `12 characters`, `empty`, `37 characters, the last one a line break`.
pub(crate) fn of(value: &str) -> Shape<'_> {
    Shape(value)
}

/// See [`of`].
#[derive(Debug)]
pub(crate) struct Shape<'a>(&'a str);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        let count = value.chars().count();
        match count {
            0 => return f.write_str("empty"),
            1 => f.write_str("1 character")?,
            _ => write!(f, "{count} characters")?,
        }
        // The most telling oddity only: where a stray one came from is what the reader looks for.
        let oddity = if value.ends_with(['\n', '\r']) {
            "the last one a line break"
        } else if value.ends_with(char::is_whitespace) {
            "the last one whitespace"
        } else if value.starts_with(char::is_whitespace) {
            "the first one whitespace"
        } else if value.contains(char::is_whitespace) {
            "with whitespace inside"
        } else if value.contains(char::is_control) {
            "with control characters"
        } else if value.starts_with(['"', '\'']) {
            "the first one a quotation mark"
        } else if !value.is_ascii() {
            "not all of them ASCII"
        } else {
            return Ok(());
        };
        write!(f, ", {oddity}")
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_shape_tells_the_oddity_and_never_the_value() {
        for (value, shape) in [
            ("", "empty"),
            ("x", "1 character"),
            ("xx", "2 characters"),
            ("xx\n", "3 characters, the last one a line break"),
            ("xx ", "3 characters, the last one whitespace"),
            (" xx", "3 characters, the first one whitespace"),
            ("x x", "3 characters, with whitespace inside"),
            ("x\0x", "3 characters, with control characters"),
            ("'x'", "3 characters, the first one a quotation mark"),
            ("é", "1 character, not all of them ASCII"),
        ] {
            assert_eq!(super::of(value).to_string(), shape);
        }
    }
}
