//! The names of options, the same in Rust, on the command line and in Python.

/// `Display` and `FromStr` for an enum whose variants have names. The error names the parameter
/// and what was expected.
#[macro_export]
macro_rules! named {
    ($type:ty, $parameter:literal, $expected:literal, $($variant:ident = $name:literal),+) => {
        impl $type {
            /// The names, as they are typed.
            pub const NAMES: &'static [&'static str] = &[$($name),+];
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $name),+ })
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::error::Error;

            fn from_str(s: &str) -> $crate::error::Result<Self> {
                match s {
                    $($name => Ok(Self::$variant),)+
                    _ => Err($crate::error::Error::invalid($parameter, $expected, format_args!("{s:?}"))),
                }
            }
        }
    };
}

pub use crate::named;

/// A whole number of digits alone: `parse` takes a leading `+` too.
#[must_use]
pub fn parse_digits(text: &str) -> Option<usize> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
