//! File systems that are full, read-only or in the way. All of it needs root.

use std::ffi::CString;
use std::io::{Error, ErrorKind};
use std::path::Path;

use super::wait_for;

/// Something that is mounted, and gone with its owner.
pub struct Mount(CString);

impl Mount {
    /// A file system of its own, with such options as `size=16k,mode=0700`.
    pub fn tmpfs(path: &str, options: &str) -> Mount {
        let mount = Mount(CString::new(path).unwrap());
        mount.mount("tmpfs", options, 0);
        mount
    }

    /// The same file or folder in another place, too.
    pub fn bind(source: &str, path: &str) -> Mount {
        assert!(Path::new(source).exists(), "{source}");
        let mount = Mount(CString::new(path).unwrap());
        mount.mount(source, "", libc::MS_BIND);
        mount
    }

    pub fn read_only(&self) {
        self.mount("tmpfs", "", libc::MS_REMOUNT | libc::MS_RDONLY);
    }

    fn mount(&self, source: &str, options: &str, flags: libc::c_ulong) {
        let (source, options) = (CString::new(source).unwrap(), CString::new(options).unwrap());
        // A program that another test is about to start has copies of all open files, for a moment.
        wait_for("the mount", || {
            // SAFETY: all strings are alive and end with a zero.
            let result = unsafe {
                let (kind, data) = (c"tmpfs".as_ptr(), options.as_ptr().cast());
                libc::mount(source.as_ptr(), self.0.as_ptr(), kind, flags, data)
            };
            let error = Error::last_os_error();
            assert!(result == 0 || error.kind() == ErrorKind::ResourceBusy, "mount: {error}");
            (result == 0).then_some(())
        });
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // SAFETY: the path is alive and ends with a zero.
        unsafe { libc::umount2(self.0.as_ptr(), libc::MNT_DETACH) };
    }
}
