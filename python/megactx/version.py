"""The project's version: CMake and the package read it here."""

VERSION = "0.1.0"
