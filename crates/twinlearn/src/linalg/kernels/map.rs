//! Read-only memory maps.

use std::fs::File;

use memmap2::Mmap;

/// Maps a file that is not expected to change while it is mapped.
pub(crate) fn map_file(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is private and read-only and outlives every slice taken from it. The one
    // thing that cannot be checked is another process that shortens or rewrites the file while it
    // is open: as with every memory-mapped reader, the values read are then unspecified, or the
    // process receives SIGBUS. The bytes are only ever read as numbers, for which every bit
    // pattern is valid.
    unsafe { Mmap::map(file) }
}
