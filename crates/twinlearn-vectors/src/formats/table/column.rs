//! A column as numbers, row after row.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, GenericListViewArray, LargeListArray, OffsetSizeTrait, make_array,
};
use arrow_buffer::OffsetBuffer;
use arrow_data::ArrayData;
use arrow_data::transform::MutableArrayData;
use arrow_schema::DataType;
use twinlearn_core::error::{Error, Result};

use super::super::Dtype;
use super::super::disk::DiskFile;
use super::batches::Table;
use super::guard::damaged;
use super::places::{Place, dtype, item, named};

/// Bytes of vectors in a batch that is read, about.
const BATCH: usize = 4 << 20;

/// A column of numbers, or of lists of so many numbers.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) index: usize,
    /// The members within it that lead to the numbers.
    pub(super) path: Vec<usize>,
    name: String,
    pub(crate) dtype: Dtype,
    /// The length of each list; none for plain numbers.
    pub(super) dim: Option<usize>,
}

/// The numbers of a batch.
pub(crate) struct Numbers {
    data: ArrayData,
    /// In bytes.
    start: usize,
    len: usize,
}

impl Numbers {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.data.buffers()[0].as_slice()[self.start..][..self.len]
    }
}

impl Column {
    /// The one at this place; the length of its lists is not known yet, where the type leaves it open.
    pub(super) fn at(file: &DiskFile, place: Place) -> Result<Self> {
        let Place { index, path, name, of } = place;
        let Some(dtype) = dtype(item(&of).unwrap_or(&of)) else {
            let expected = format!("numbers or lists of numbers in column {name}");
            return Err(file.wrong(expected, named(&of)));
        };
        let dim = match &of {
            DataType::FixedSizeList(_, len) => {
                let dim = usize::try_from(*len);
                Some(dim.map_err(|_| file.wrong("lists from length 0", len))?)
            }
            _ => None,
        };
        Ok(Self { index, path, name, dtype, dim })
    }

    pub(super) fn is_list(&self) -> bool {
        self.dim.is_some()
    }

    /// Whether column `index` of the table is this one, and not one with others in it: its reduced
    /// vectors take its place.
    pub(crate) fn is_all_of(&self, index: usize) -> bool {
        self.path.is_empty() && self.index == index
    }

    /// The arrays from a column of the table to the numbers in it, as lists whose values follow each
    /// other where they are lists.
    fn within(&self, file: &DiskFile, column: &ArrayRef) -> Result<Vec<ArrayRef>> {
        let mut all = vec![ArrayRef::clone(column)];
        for &member in &self.path {
            let Some(column) = all.last().and_then(|column| column.as_struct_opt()) else {
                return Err(file.wrong(format_args!("members in column {}", self.name), "none"));
            };
            all.push(ArrayRef::clone(column.column(member)));
        }
        if let Some(last) = all.last_mut() {
            if let Some(views) = last.as_list_view_opt::<i32>() {
                *last = in_order(file, views)?;
            } else if let Some(views) = last.as_list_view_opt::<i64>() {
                *last = in_order(file, views)?;
            }
        }
        Ok(all)
    }

    /// How many rows are read at once.
    pub(crate) fn batch_rows(&self) -> usize {
        (BATCH / (self.dtype.size() * self.width()).max(1)).clamp(64, 1 << 16)
    }

    /// The numbers of a row.
    pub(super) fn width(&self) -> usize {
        self.dim.unwrap_or(1)
    }

    /// Refuses lists of other lengths than the first of the table, `ends` being where each begins and
    /// the last ends, and `first` the row of the first.
    pub(super) fn check_lengths(&self, file: &DiskFile, ends: &[i64], first: usize) -> Result<()> {
        let dim = self.width();
        match ends.windows(2).position(|ends| ends[1].checked_sub(ends[0]) != Some(dim as i64)) {
            None => Ok(()),
            Some(row) => {
                let expected = format!("{dim} numbers in every row of column {}", self.name);
                let got = ends[row + 1].saturating_sub(ends[row]);
                Err(file.wrong(expected, format_args!("{got} in row {}", first + row)))
            }
        }
    }

    /// The length of the first list, which all others must have.
    pub(super) fn first_len(&self, table: &Table) -> Result<usize> {
        let mut batches = table.batches(Some(&[self.index]), 1)?;
        while let Some(batch) = batches.next()? {
            if batch.num_rows() == 0 {
                continue;
            }
            let arrays = self.within(&table.file, batch.column(0))?;
            if arrays.iter().any(|array| array.is_null(0)) {
                return Err(self.missing(&table.file, 0));
            }
            let offsets = arrays.last().and_then(|lists| self.offsets(lists)).unwrap_or_default();
            return Ok(offsets.get(..2).map_or(0, |ends| (ends[1] - ends[0]) as usize));
        }
        Ok(0)
    }

    /// Where each list begins, and the last ends.
    fn offsets(&self, lists: &ArrayRef) -> Option<Vec<i64>> {
        let list = lists.as_list_opt::<i32>();
        let list = list.map(|list| list.value_offsets().iter().map(|&at| at.into()).collect());
        list.or_else(|| Some(lists.as_list_opt::<i64>()?.value_offsets().to_vec()))
    }

    fn missing(&self, file: &DiskFile, row: usize) -> Error {
        file.wrong(
            format_args!("a value in every row of column {}", self.name),
            format_args!("null in row {row}"),
        )
    }

    /// The numbers of a batch of the column, of which `first` is the first row.
    pub(crate) fn numbers(
        &self,
        file: &DiskFile,
        column: &ArrayRef,
        first: usize,
    ) -> Result<Numbers> {
        let n = column.len();
        let arrays = self.within(file, column)?;
        for array in arrays.iter().filter(|array| array.null_count() > 0) {
            if let Some(row) = (0..n).find(|&row| array.is_null(row)) {
                return Err(self.missing(file, first + row));
            }
        }
        let column = arrays.last().unwrap_or(column);
        let dim = self.width();
        let values = match self.offsets(column) {
            Some(offsets) => {
                self.check_lengths(file, &offsets, first)?;
                let values = match column.as_list_opt::<i32>() {
                    Some(list) => list.values(),
                    None => column.as_list::<i64>().values(),
                };
                values.slice(offsets[0] as usize, n * dim)
            }
            None => match column.as_fixed_size_list_opt() {
                Some(list) => list.values().slice(0, n * dim),
                None => column.slice(0, n),
            },
        };
        if values.null_count() > 0
            && let Some(at) = (0..values.len()).find(|&at| values.is_null(at))
        {
            let (row, place) = (first + at / dim, at % dim);
            let expected = format!("numbers in every row of column {}", self.name).to_string();
            return Err(file.wrong(expected, format_args!("null in row {row}, at place {place}")));
        }
        let data = values.to_data();
        let size = self.dtype.size();
        Ok(Numbers { start: data.offset() * size, len: data.len() * size, data })
    }
}

/// Lists that may lie anywhere among their values, as lists whose values follow each other.
fn in_order<O: OffsetSizeTrait>(
    file: &DiskFile,
    views: &GenericListViewArray<O>,
) -> Result<ArrayRef> {
    let outside = "a list beyond the values";
    let values = views.values().to_data();
    let mut ordered = MutableArrayData::new(vec![&values], false, values.len());
    let mut ends = vec![0_i64];
    for (row, (at, len)) in views.value_offsets().iter().zip(views.value_sizes()).enumerate() {
        let (at, len) = (at.as_usize(), len.as_usize());
        let len = if views.is_null(row) { 0 } else { len };
        if len > 0 {
            if at.checked_add(len).is_none_or(|end| end > values.len()) {
                return Err(damaged(file, outside));
            }
            ordered.try_extend(0, at, at + len).map_err(|e| damaged(file, e))?;
        }
        ends.push(ends[row] + len as i64);
    }
    let (DataType::ListView(item) | DataType::LargeListView(item)) = views.data_type() else {
        return Err(damaged(file, outside));
    };
    let values = make_array(ordered.freeze());
    let ends = OffsetBuffer::new(ends.into());
    let lists = LargeListArray::try_new(item.clone(), ends, values, views.nulls().cloned());
    Ok(Arc::new(lists.map_err(|e| damaged(file, e))?))
}
