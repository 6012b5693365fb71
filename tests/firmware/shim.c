/* What ctypes cannot ask C itself. */
#include "talaria.h"

size_t shim_device_size(void)
{
    return sizeof(talaria_device);
}

size_t shim_sample_size(void)
{
    return sizeof(talaria_sample);
}

size_t shim_parser_size(void)
{
    return sizeof(talaria_parser);
}

uint16_t shim_refused(const talaria_parser *parser)
{
    return parser->refused;
}
