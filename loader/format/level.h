/* The level of instructions that a core takes (`processor.h`), and the functions by which Python sees and sets it. */

#ifndef RESIZEONCE_LEVEL_H
#define RESIZEONCE_LEVEL_H

#include "arguments.h"
#include "processor.h"

static int level;

static PyObject *use(PyObject *self, PyObject *name)
{
    (void)self;
    PyObject *text = PyUnicode_AsUTF8String(name);
    if (!text)
        return NULL;
    int found = level_of(PyBytes_AsString(text));
    Py_DECREF(text);
    if (found < 0)
        return PyErr_Format(PyExc_ValueError, "%R is no level of instructions that this processor has", name);
    level = found;
    Py_RETURN_NONE;
}

static PyObject *current_level(PyObject *self, PyObject *nothing)
{
    (void)self, (void)nothing;
    return PyUnicode_FromString(LEVEL_NAMES[level]);
}

#endif
