//! A hint to the processor.

/// So many frames are looked at before the first of them is decided about: as many cache lines as the
/// processor fetches at a time, and by then the first has come.
pub(crate) const AHEAD: usize = 8;

/// Bytes of a cache line.
pub(super) const CACHE_LINE: usize = 64;

/// Asks for the cache line at `place`, which is read soon. Nothing is read now, so any address will do.
pub(crate) fn prefetch(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect but on the cache, and faults nowhere.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
