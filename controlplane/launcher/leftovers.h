/* What a dataplane that died leaves behind: hugepage files, the EAL's runtime folder, its socket. */
#pragma once

/* Removes PREFIXmap_N from every hugetlbfs mount, dpdk/PREFIX below the EAL's runtime folders, and dataplane.sock
 * from runtime_dir. Nothing at all when somebody listens on that socket: then a dataplane lives, only not ours.
 * Returns how many files went. */
unsigned hr_leftovers_remove(const char *file_prefix, const char *runtime_dir);

/* The same within one hugepage mount and one folder of the EAL's; for tests. */
unsigned hr_leftovers_remove_maps(const char *mount, const char *file_prefix);
unsigned hr_leftovers_remove_runtime(const char *dpdk_dir, const char *file_prefix);
