/* The EAL as unit tests and fuzz targets need it: no devices, no hugepages, nothing left behind. */
#pragma once

/* Starts it once per process; exits with a message where it cannot. */
void hr_test_eal_init(void);
/* With so much memory; 192 is what most tests need. */
void hr_test_eal_init_mb(unsigned mb);
