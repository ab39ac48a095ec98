//! What one line of the table of hyper-parameters becomes: a field, a setter, a description.

use std::fmt;

use twinlearn_codes::CodeSpec;
use twinlearn_core::error::{Error, Result};
use twinlearn_knn::{KnnApproximation, KnnMethod, Metric};

use super::{Init, Loss, Optimizer, Recipe, Solver};
use crate::nn::{NetworkSpec, NormLayer};

/// A hyper-parameter as users see it: help, signatures and pages are made of this.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct HyperparameterInfo {
    /// The name: that of the field, the keyword argument and, with hyphens, the flag.
    pub name: &'static str,
    /// What it is, as plain text; lines follow each other after a space.
    pub doc: &'static str,
    /// What stands for it in a line of usage, as `EPOCHS`.
    pub placeholder: &'static str,
    /// What is taken where it is not given.
    pub default: &'static str,
    /// What values look like.
    pub kind: ValueKind,
    /// Which numbers are allowed.
    pub range: ValueRange,
}

/// What values of a hyper-parameter look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueKind {
    /// A whole number from 0.
    Whole,
    /// A number.
    Real,
    /// Yes or no.
    Truth,
    /// One of these names.
    Choice(&'static [&'static str]),
    /// A [`NetworkSpec`].
    Network,
    /// A [`NetworkSpec`] or `none`.
    NetworkOrNone,
    /// A [`CodeSpec`].
    Code,
    /// Whole numbers.
    Sizes,
}

/// A value whose kind is known only when the program runs: typed, or of another language.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// For [`ValueKind::Whole`].
    Whole(u64),
    /// For [`ValueKind::Real`].
    Real(f64),
    /// For [`ValueKind::Truth`].
    Truth(bool),
    /// For a choice or a network.
    Text(String),
    /// For [`ValueKind::Sizes`].
    Sizes(Vec<usize>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => value.fmt(f),
            Self::Real(value) => value.fmt(f),
            Self::Truth(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
            Self::Sizes(values) => fmt::Debug::fmt(values, f),
        }
    }
}

/// Which numbers are allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ValueRange {
    /// All, or what is no number.
    Any,
    /// Whole numbers from here.
    AtLeast(usize),
    /// Whole numbers between these, both allowed.
    Between(usize, usize),
    /// Finite numbers above 0.
    Positive,
    /// Finite numbers from 0.
    NotNegative,
    /// Numbers between these, both allowed.
    Within(f64, f64),
    /// Shares between 0 and 1, neither allowed.
    Share,
}

impl ValueRange {
    fn check_whole(self, name: &str, value: usize) -> Result<()> {
        match self {
            Self::AtLeast(least) | Self::Between(least, _) if value < least => {
                Err(Error::invalid(name, format_args!("at least {least}"), value))
            }
            Self::Between(_, most) if value > most => {
                Err(Error::invalid(name, format_args!("at most {most}"), value))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn check_real(self, name: &str, value: f64) -> Result<()> {
        let invalid = |expected: &dyn fmt::Display| Err(Error::invalid(name, expected, value));
        match self {
            Self::Positive if !(value > 0.0 && value.is_finite()) => {
                invalid(&"a finite number above 0")
            }
            Self::NotNegative if !(value >= 0.0 && value.is_finite()) => {
                invalid(&"a finite number from 0")
            }
            Self::Within(low, high) if !(low..=high).contains(&value) => {
                invalid(&format_args!("a number from {low} to {high}"))
            }
            Self::Share if !(value > 0.0 && value < 1.0) => invalid(&"a share between 0 and 1"),
            _ => Ok(()),
        }
    }
}

/// A field that may be out of its range.
pub(super) trait Ranged {
    fn check(&self, name: &str, range: ValueRange) -> Result<()>;
}

impl Ranged for usize {
    fn check(&self, name: &str, range: ValueRange) -> Result<()> {
        range.check_whole(name, *self)
    }
}

impl Ranged for f64 {
    fn check(&self, name: &str, range: ValueRange) -> Result<()> {
        range.check_real(name, *self)
    }
}

impl<T: Ranged> Ranged for Option<T> {
    fn check(&self, name: &str, range: ValueRange) -> Result<()> {
        self.as_ref().map_or(Ok(()), |value| value.check(name, range))
    }
}

/// What is checked when it is read, or where a range says nothing.
macro_rules! not_ranged {
    ($($type:ty),+) => {
        $(impl Ranged for $type {
            fn check(&self, _: &str, _: ValueRange) -> Result<()> {
                Ok(())
            }
        })+
    };
}

not_ranged!(bool, u64, Vec<usize>, NetworkSpec, NormLayer, KnnApproximation, KnnMethod, Metric);
not_ranged!(CodeSpec);
not_ranged!(Init, Loss, Optimizer, Recipe, Solver);

/// A type that a [`Value`] can become.
pub(super) trait Given: Sized {
    const KIND: ValueKind;
    /// None where the value is of another kind.
    fn read(name: &str, value: &Value) -> Option<Result<Self>>;

    fn of(name: &str, value: &Value) -> Result<Self> {
        let expected = match Self::KIND {
            ValueKind::Whole => "a whole number from 0",
            ValueKind::Real => "a number",
            ValueKind::Truth => "true or false",
            ValueKind::Choice(_)
            | ValueKind::Network
            | ValueKind::NetworkOrNone
            | ValueKind::Code => "a name",
            ValueKind::Sizes => "a sequence of whole numbers from 0",
        };
        let read = Self::read(name, value);
        read.unwrap_or_else(|| Err(Error::invalid(name, expected, value)))
    }
}

/// What a value of one kind becomes, by the name of the parameter.
macro_rules! given {
    ($($type:ty: $kind:ident, $name:pat, $pattern:pat => $read:expr;)+) => {
        $(impl Given for $type {
            const KIND: ValueKind = ValueKind::$kind;

            fn read($name: &str, value: &Value) -> Option<Result<Self>> {
                match value {
                    $pattern => $read,
                    _ => None,
                }
            }
        })+
    };
}

given! {
    usize: Whole, _, Value::Whole(whole) => Self::try_from(*whole).ok().map(Ok);
    u64: Whole, _, Value::Whole(whole) => Some(Ok(*whole));
    f64: Real, _, Value::Real(real) => Some(Ok(*real));
    bool: Truth, _, Value::Truth(truth) => Some(Ok(*truth));
    Vec<usize>: Sizes, _, Value::Sizes(sizes) => Some(Ok(sizes.clone()));
    CodeSpec: Code, _, Value::Text(text) => Some(text.parse());
    NetworkSpec: Network, name, Value::Text(text) => Some(Self::parse_named(name, text));
    Option<NetworkSpec>: NetworkOrNone, name, Value::Text(text) => match &text[..] {
        "none" => Some(Ok(None)),
        text => Some(NetworkSpec::parse_named(name, text).map(Some)),
    };
}

macro_rules! given_by_name {
    ($($type:ty),+) => {
        $(impl Given for $type {
            const KIND: ValueKind = ValueKind::Choice(Self::NAMES);

            fn read(_: &str, value: &Value) -> Option<Result<Self>> {
                match value {
                    Value::Text(text) => Some(text.parse()),
                    _ => None,
                }
            }
        })+
    };
}

given_by_name!(
    NormLayer,
    KnnApproximation,
    KnnMethod,
    Metric,
    Init,
    Loss,
    Optimizer,
    Recipe,
    Solver
);

/// The table: for each hyper-parameter its description, its name, the type of the field, that of the
/// value given, what stands for it in a line of usage, its default in words, its range, and how files
/// that lack it are read.
macro_rules! hyperparameters {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident: $stored:ty as $given:ty, $placeholder:literal, default $default:literal,
        $range:expr $(, serde($($serde:tt)+))?;
    )+) => {
        /// Everything that decides what is learned, as the model file records it.
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[non_exhaustive]
        pub struct Hyperparameters {
            $(
                $(#[doc = $doc])+
                $(#[serde($($serde)+)])?
                pub $name: $stored,
            )+
        }

        impl Hyperparameters {
            /// All of them, in the order of the model file.
            pub const TABLE: &'static [$crate::params::HyperparameterInfo] = &[$(
                $crate::params::HyperparameterInfo {
                    name: stringify!($name),
                    doc: concat!($($doc),+),
                    placeholder: $placeholder,
                    default: $default,
                    kind: <$given as $crate::params::table::Given>::KIND,
                    range: $range,
                },
            )+];

            /// Refuses numbers that are out of their ranges.
            pub(super) fn check_ranges(&self) -> twinlearn_core::error::Result<()> {
                $($crate::params::table::Ranged::check(&self.$name, stringify!($name), $range)?;)+
                Ok(())
            }
        }

        /// Parameters not yet checked; [`build`](Self::build) checks them.
        #[derive(Clone, Debug, Default)]
        pub struct ParamsBuilder {
            /// The model to go on from: what it was made with stands for the recipe's defaults.
            pub(super) model: Option<Box<Hyperparameters>>,
            $(pub(super) $name: Option<$given>,)+
        }

        impl ParamsBuilder {
            $(
                $(#[doc = $doc])+
                #[doc = concat!("\n\nDefault: ", $default, ".")]
                #[must_use]
                pub fn $name(mut self, $name: $given) -> Self {
                    self.$name = Some($name);
                    self
                }
            )+

            /// Sets a parameter by its name.
            ///
            /// # Errors
            /// When there is none of that name, or the value is of another kind or no name of a
            /// choice.
            ///
            /// ```
            /// use twinlearn::{Params, Value};
            /// let params = Params::builder().set("epochs", &Value::Whole(5))?.build()?;
            /// assert_eq!(params.epochs, Some(5));
            /// # Ok::<(), twinlearn::Error>(())
            /// ```
            pub fn set(
                self,
                name: &str,
                value: &$crate::params::Value,
            ) -> twinlearn_core::error::Result<Self> {
                match name {
                    $(stringify!($name) => {
                        Ok(self.$name($crate::params::table::Given::of(name, value)?))
                    })+
                    _ => Err(twinlearn_core::error::Error::invalid(
                        name, "a hyper-parameter", value,
                    )),
                }
            }
        }
    };
}

pub(super) use hyperparameters;
