/* The loops that a conversion spends its time in, for `preprocess.kernels.core`, which says what each takes.

   Every shape and bound is looked at here, before the interpreter is released and a loop runs. */

#include "arguments.h"
#include "codecs.h"
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

static PyMethodDef methods[] = {
    {"use", use, METH_O, "Take instructions up to a level."},
    {"level", current_level, METH_NOARGS, "Return the level of instructions that are taken."},
    {NULL, NULL, 0, NULL},
};

static int prepare(PyObject *module)
{
    (void)module;
    make_tables();
    level = best_level();
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, prepare}, {0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_core", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__core(void);

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&definition);
}
