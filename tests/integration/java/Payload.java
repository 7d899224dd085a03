package hrtest;

import java.util.Arrays;

/**
 * Deterministic bytes: what was written can be made again by the reader, so nothing needs to be remembered.
 * The byte 0x0a never occurs, so that a broker's binary address (10.77.Z.10) cannot turn up by chance.
 */
final class Payload {
    private Payload() {
    }

    static byte[] make(long seed, int size) {
        byte[] b = new byte[size];
        long x = seed * 0x9E3779B97F4A7C15L + 1;
        for (int i = 0; i < size; i += 8) {
            x += 0x9E3779B97F4A7C15L;
            long z = x;
            z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
            z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
            z ^= z >>> 31;
            for (int j = i; j < Math.min(size, i + 8); j++, z >>>= 8) {
                b[j] = (byte) ((z & 0xff) == 0x0a ? 0x0b : z);
            }
        }
        return b;
    }

    static boolean matches(byte[] got, long seed, int size) {
        return got != null && got.length == size && Arrays.equals(got, make(seed, size));
    }
}
