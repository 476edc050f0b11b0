# cmake -D IN=NAME.proto -D OUT=COPY.proto -D PACKAGE=pb -P short_names.cmake: a copy of a schema for protoc-c alone, whose C names
# begin with PACKAGE instead of the schema's package. The option stays out of the schema that clients ask for.
file(READ ${IN} text)
string(REGEX REPLACE "(\npackage [^;]+;)" "\\1\nimport \"protobuf-c/protobuf-c.proto\";\noption (pb_c_file).c_package = \"${PACKAGE}\";" text "${text}")
file(WRITE ${OUT} "${text}")
