#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Whatever would write says "read-only file system".
. "$SRC/tests/lib.sh"
require_fuse

make_image a.img 64K
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d os=a.img
mount_vault vault mnt
try_all() {
	python3 - mnt/v/vm/latest/disks "$@" <<'END'
import ctypes, errno, os, sys
d = sys.argv[1]
f, new = d + "/os.img", d + "/new"
json = d + "/../point.json"

def erofs(what, call, also=()):
    try:
        call()
    except OSError as e:
        assert e.errno == errno.EROFS or e.errno in also, (what, e)
        return
    raise AssertionError(what + " succeeded")

for path in f, json:
    for name in ("O_WRONLY", "O_RDWR", "O_RDWR O_TRUNC", "O_TRUNC",
                 "O_WRONLY O_APPEND", "O_WRONLY O_CREAT"):
        flags = sum(getattr(os, n) for n in name.split())
        erofs(name, lambda: os.open(path, flags))
    erofs("truncate", lambda: os.truncate(path, 0))
    erofs("chmod", lambda: os.chmod(path, 0o777))
    erofs("chown", lambda: os.chown(path, 1, 1))
    erofs("utime", lambda: os.utime(path))
    erofs("unlink", lambda: os.unlink(path))
    erofs("rename", lambda: os.rename(path, new))
    erofs("rename over", lambda: os.rename(path, path + "x"))
    erofs("link", lambda: os.link(path, new))
    erofs("setxattr", lambda: os.setxattr(path, "user.x", b"1"))
    erofs("setxattr", lambda: os.setxattr(path, "user.vaultfs.root", b"1"))
    erofs("removexattr", lambda: os.removexattr(path, "user.vaultfs.root"))
    assert os.access(path, os.R_OK)
    assert not os.access(path, os.W_OK) or "remounted" in sys.argv
for where in d, d + "/../../..", d + "/../../../..":
    new = where + "/new"
    erofs("creat", lambda: os.open(new, os.O_CREAT | os.O_WRONLY))
    erofs("creat", lambda: os.open(new, os.O_CREAT))
    erofs("mknod", lambda: os.mknod(new))
    erofs("mkfifo", lambda: os.mkfifo(new))
    erofs("mkdir", lambda: os.mkdir(new))
    erofs("symlink", lambda: os.symlink("x", new))
    erofs("tmpfile", lambda: os.open(where, os.O_TMPFILE | os.O_RDWR),
          (errno.EOPNOTSUPP,))
erofs("rmdir", lambda: os.rmdir(d))
erofs("rename dir", lambda: os.rename(d, d + "x"))
# What needs a writable descriptor has none to work on.
fd = os.open(f, os.O_RDONLY)
erofs("write", lambda: os.write(fd, b"x"), (errno.EBADF,))
erofs("ftruncate", lambda: os.ftruncate(fd, 0), (errno.EINVAL,))
erofs("fallocate", lambda: os.posix_fallocate(fd, 0, 1), (errno.EBADF,))
erofs("fchmod", lambda: os.fchmod(fd, 0o777))
erofs("fsetxattr", lambda: os.setxattr(fd, "user.x", b""))
src = os.open("/etc/hostname", os.O_RDONLY)
erofs("copy_file_range", lambda: os.copy_file_range(src, fd, 1), (errno.EBADF,))
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
if libc.mmap(None, 4096, 3, 1, fd, 0) != ctypes.c_void_p(-1).value:
    raise AssertionError("a shared writable mapping")
END
}
try_all
umount_vault mnt

# Without the kernel's own refusal, what reaches the program is refused there.
((EUID == 0)) || exit 0
require getfattr jq
mount_vault vault mnt
python3 - mnt <<'END' || exit 0
import ctypes, sys
MS_NOSUID, MS_NODEV, MS_REMOUNT = 2, 4, 32
sys.exit(ctypes.CDLL(None).mount(b"none", sys.argv[1].encode(), None,
                                 MS_REMOUNT | MS_NOSUID | MS_NODEV, None) != 0)
END
grep -q " $PWD/mnt rw" /proc/self/mountinfo || fail "not remounted"
try_all remounted
refused=$(getfattr --only-values -n user.vaultfs.stats mnt | jq .refused)
((refused >= 40)) || fail "only $refused requests were refused by vaultfs"
assert_same mnt/v/vm/latest/disks/os.img a.img
umount_vault mnt
