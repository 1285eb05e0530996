"""What stands at a service's door: how long a head and a body may be and may take, and whose trace goes on."""
