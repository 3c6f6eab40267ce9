//! The allocator of the static program.
//!
//! musl's own takes one lock for all threads and gives every larger block back to the kernel at once: linking takes two fifths more
//! processor time than with glibc on two threads, and more with each thread (docs/operations.md). Other builds keep their system's.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;
