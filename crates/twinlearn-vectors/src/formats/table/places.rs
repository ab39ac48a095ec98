//! Where the numbers of a column are, and of which type they are.

use arrow_schema::{DataType, Field};

use super::super::Dtype;

/// Where a column's numbers are: in a column of the table, or in a member of a member of one.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) index: usize,
    /// The numbers of members, outermost first.
    pub(super) path: Vec<usize>,
    pub(super) name: String,
    pub(super) of: DataType,
}

impl Place {
    pub(super) fn of(index: usize, field: &Field) -> Self {
        let (name, of) = (field.name().clone(), field.data_type().clone());
        Self { index, path: Vec::new(), name, of }
    }
}

/// A place, or those within it.
pub(super) fn members(place: Place, of: &DataType, all: &mut Vec<Place>) {
    let DataType::Struct(fields) = of else { return all.push(place) };
    for (number, field) in fields.iter().enumerate() {
        let mut member = place.clone();
        member.path.push(number);
        member.name = format!("{}.{}", place.name, field.name());
        member.of = field.data_type().clone();
        members(member, field.data_type(), all);
    }
}

/// The type of the elements of lists.
pub(super) fn item(list: &DataType) -> Option<&DataType> {
    match list {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Some(item.data_type()),
        _ => None,
    }
}

/// The type of numbers of this kind.
pub(super) fn dtype(of: &DataType) -> Option<Dtype> {
    Some(match of {
        DataType::Float16 => Dtype::F16,
        DataType::Float32 => Dtype::F32,
        DataType::Float64 => Dtype::F64,
        DataType::Int8 => Dtype::I8,
        DataType::UInt8 => Dtype::U8,
        DataType::Int16 => Dtype::I16,
        DataType::UInt16 => Dtype::U16,
        DataType::Int32 => Dtype::I32,
        DataType::UInt32 => Dtype::U32,
        DataType::Int64 => Dtype::I64,
        DataType::UInt64 => Dtype::U64,
        _ => return None,
    })
}

/// A type as readers call it: text and bytes have several names in files.
pub(super) fn named(of: &DataType) -> String {
    match of {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytes".to_owned(),
        other => other.to_string(),
    }
}
