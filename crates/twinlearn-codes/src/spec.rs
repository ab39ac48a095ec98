//! The names of codes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use twinlearn_core::error::{Error, Result};
use twinlearn_core::names::parse_digits;

/// Bits of a number in a scalar code: 1, 2, 4 or 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bits(u8);

impl Bits {
    /// All of them.
    pub const ALL: [Self; 4] = [Self(1), Self(2), Self(4), Self(8)];

    /// So many bits.
    ///
    /// # Errors
    /// When it is another number than 1, 2, 4 or 8.
    pub fn new(bits: u64) -> Result<Self> {
        match Self::ALL.iter().find(|all| u64::from(all.0) == bits) {
            Some(bits) => Ok(*bits),
            None => Err(Error::invalid("bits", "1, 2, 4 or 8", bits)),
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> usize {
        self.0.into()
    }
}

/// A kind of code, by the name that models and messages have for it: `sq2` is a scalar code of 2 bits a
/// number, `pq:16` a product code of 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeSpec {
    /// Every number by so many bits.
    Scalar(Bits),
    /// So many bytes, each the number of one of 256 centres of a group of numbers.
    Product(usize),
}

/// Far more than a vector takes as it is.
const MOST_BYTES: usize = 1 << 16;

impl fmt::Display for CodeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(bits) => write!(f, "sq{}", bits.get()),
            Self::Product(bytes) => write!(f, "pq:{bytes}"),
        }
    }
}

impl FromStr for CodeSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let read = match (text.strip_prefix("pq:"), text.strip_prefix("sq")) {
            (Some(bytes), _) => parse_digits(bytes)
                .filter(|bytes| (1..=MOST_BYTES).contains(bytes))
                .map(Self::Product),
            (None, Some(bits)) => {
                parse_digits(bits).and_then(|b| Bits::new(b as u64).ok()).map(Self::Scalar)
            }
            (None, None) => None,
        };
        let expected = "pq:M, a product code of M bytes (as pq:16)";
        read.ok_or_else(|| Error::invalid("codes", expected, format_args!("{text:?}")))
    }
}

impl Serialize for CodeSpec {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CodeSpec {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_again_and_others_refused() {
        for text in ["sq1", "sq2", "sq4", "sq8", "pq:1", "pq:16", "pq:384"] {
            assert_eq!(text.parse::<CodeSpec>().unwrap().to_string(), text);
        }
        for text in ["", "pq", "pq:", "pq:0", "pq:+3", "pq:99999999999", "sq", "sq3", "sq:2", "16"]
        {
            let error = text.parse::<CodeSpec>().unwrap_err().to_string();
            assert!(error.starts_with("codes: expected pq:M"), "{error}");
        }
    }
}
