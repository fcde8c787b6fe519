/* Buffers that Python hands over: each is looked at before a loop reads or writes a byte of it. */

#ifndef RESIZEONCE_ARGUMENTS_H
#define RESIZEONCE_ARGUMENTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

enum { READ = PyBUF_SIMPLE, WRITE = PyBUF_WRITABLE };

/* Takes the memory of an object that is contiguous, in C order.

   `size` is how many bytes it must have, -1 for any number. Returns whether it could be taken; else an exception is set,
   and `view` need not be released. A zeroed `view` may always be released. */
static inline int take_buffer(PyObject *object, Py_buffer *view, int access, Py_ssize_t size, const char *name)
{
    if (PyObject_GetBuffer(object, view, access) < 0)
        return 0;
    if (size >= 0 && view->len != size) {
        PyErr_Format(PyExc_ValueError, "%s has %zd bytes, expected %zd", name, view->len, size);
        PyBuffer_Release(view);
        return 0;
    }
    return 1;
}

/* The product of two sizes; -1 where it is too large for one. */
static inline Py_ssize_t times(Py_ssize_t one, Py_ssize_t other)
{
    return one < 0 || other < 0 || (other && one > PY_SSIZE_T_MAX / other) ? -1 : one * other;
}

#endif
