//! The structs of a Parquet file's footer and page headers, as the format's `parquet.thrift` has them:
//! number and type of each field. Unions are left open, and so are fields that come to be known later.

use self::Kind::{Binary, Bool, I16, I32, I64, List, Struct};

/// The number of the type of structs.
pub(super) const STRUCT: u8 = 12;

/// What a value should be.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Bool,
    I16,
    I32,
    I64,
    Binary,
    List(&'static Kind),
    /// Its fields that are known.
    Struct(&'static Shape),
}

impl Kind {
    pub(super) fn is(self, number: u8) -> bool {
        match self {
            // In a struct the type of a boolean is its value.
            Self::Bool => matches!(number, 1 | 2),
            Self::I16 => number == 4,
            Self::I32 => number == 5,
            Self::I64 => number == 6,
            Self::Binary => number == 8,
            Self::List(_) => number == 9,
            Self::Struct(_) => number == STRUCT,
        }
    }
}

/// The fields of a struct.
pub(super) type Shape = [(i64, Kind)];

/// A struct with any fields.
pub(super) const OPEN: Kind = Struct(&[]);

pub(super) static FOOTER: &Shape = &[
    (1, I32),
    (2, List(&Struct(SCHEMA_ELEMENT))),
    (3, I64),
    (4, List(&Struct(ROW_GROUP))),
    (5, List(&Struct(KEY_VALUE))),
    (6, Binary),
    (7, List(&OPEN)),
    (8, OPEN),
    (9, Binary),
];

pub(super) static PAGE_HEADER: &Shape = &[
    (1, I32),
    (2, I32),
    (3, I32),
    (4, I32),
    (5, Struct(&[(1, I32), (2, I32), (3, I32), (4, I32), (5, Struct(STATISTICS))])),
    (6, OPEN),
    (7, Struct(&[(1, I32), (2, I32), (3, Bool)])),
    (8, Struct(DATA_PAGE_V2)),
];

static DATA_PAGE_V2: &Shape = &[
    (1, I32),
    (2, I32),
    (3, I32),
    (4, I32),
    (5, I32),
    (6, I32),
    (7, Bool),
    (8, Struct(STATISTICS)),
];

static SCHEMA_ELEMENT: &Shape = &[
    (1, I32),
    (2, I32),
    (3, I32),
    (4, Binary),
    (5, I32),
    (6, I32),
    (7, I32),
    (8, I32),
    (9, I32),
    (10, OPEN),
];

static ROW_GROUP: &Shape = &[
    (1, List(&Struct(COLUMN_CHUNK))),
    (2, I64),
    (3, I64),
    (4, List(&Struct(&[(1, I32), (2, Bool), (3, Bool)]))),
    (5, I64),
    (6, I64),
    (7, I16),
];

static COLUMN_CHUNK: &Shape = &[
    (1, Binary),
    (2, I64),
    (3, Struct(COLUMN)),
    (4, I64),
    (5, I32),
    (6, I64),
    (7, I32),
    (8, OPEN),
    (9, Binary),
];

static COLUMN: &Shape = &[
    (1, I32),
    (2, List(&I32)),
    (3, List(&Binary)),
    (4, I32),
    (5, I64),
    (6, I64),
    (7, I64),
    (8, List(&Struct(KEY_VALUE))),
    (9, I64),
    (10, I64),
    (11, I64),
    (12, Struct(STATISTICS)),
    (13, List(&Struct(&[(1, I32), (2, I32), (3, I32)]))),
    (14, I64),
    (15, I32),
    (16, Struct(&[(1, I64), (2, List(&I64)), (3, List(&I64))])),
    (17, OPEN),
];

static STATISTICS: &Shape =
    &[(1, Binary), (2, Binary), (3, I64), (4, I64), (5, Binary), (6, Binary), (7, Bool), (8, Bool)];

static KEY_VALUE: &Shape = &[(1, Binary), (2, Binary)];
