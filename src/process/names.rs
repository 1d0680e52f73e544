//! The resolution of host names in the static program.

/// Limits a static build to `/etc/hosts` and DNS. glibc would load the modules that the host's nsswitch.conf names, and another C
/// library with them, into a program that was not made for them. A dynamic build resolves names as all of its host does.
///
/// Must be called before there is a second thread.
pub fn use_files_and_dns() {
    #[cfg(target_feature = "crt-static")]
    {
        use std::ffi::{c_char, c_int};
        unsafe extern "C" {
            fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
        }
        // SAFETY: both strings are static and end with a zero, and nobody resolves a name yet.
        unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
    }
}
